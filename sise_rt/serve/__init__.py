"""Explanations over HTTP: the routes, the queue behind them, jobs, metrics and limits (extra `serve`)."""

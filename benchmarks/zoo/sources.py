"""Which models the zoo has."""

from __future__ import annotations

from sise_rt.export.intake.from_torch import import_torchvision

KINDS = {
    "torchvision": "torchvision, convolutional",
    "timm": "timm, convolutional",
    "hybrid": "Hybrids and transformers",
}

# The smallest of each family, or of each of its variants that computes something else.
TIMM = """
resnet10t resnet18 resnet18d resnet26t resnet50c resnet50_gn resnet50_mlp resnetaa34d resnetblur18 resnetrs50
wide_resnet50_2 resnext50_32x4d resnext50d_32x4d seresnet18 seresnet50t seresnext26d_32x4d seresnetaa50d
ecaresnet26t ecaresnetlight ecaresnext26t_32x4d legacy_seresnet18 legacy_seresnext26_32x4d
skresnet18 skresnext50_32x4d res2net50_48w_2s res2net50d res2next50 resnest14d resnest50d_1s4x24d
resnetv2_18 resnetv2_34d resnetv2_50 resnetv2_50t resnetv2_50x1_bit resnetv2_50d_gn resnetv2_50d_evos
resnetv2_50d_frn tresnet_m tresnet_v2_l resnext26ts resnet32ts resnet51q resnet61q gcresnext26ts gcresnet33ts
eca_resnext26ts eca_resnet33ts seresnext26ts seresnet33ts bat_resnext26ts gernet_s repvgg_a0 repvgg_d2se
mobileone_s0 mobileone_s4 nf_resnet26 nf_seresnet26 nf_ecaresnet26 nf_regnet_b0 nfnet_l0 eca_nfnet_l0 nfnet_f0
dm_nfnet_f0 regnetx_002 regnety_002 regnety_040_sgn regnetz_005 regnetz_040 regnetz_b16 regnetz_c16_evos
regnetz_d8 regnetv_040 ghostnet_050 ghostnetv2_100 ghostnetv3_050 repghostnet_050 lcnet_035 lcnetv2_small
tinynet_e mobilenetv1_100 mobilenetv2_035 mobilenetv2_110d mobilenetv3_small_050 mobilenetv3_large_075
mobilenetv3_rw tf_mobilenetv3_small_minimal_100 tf_mobilenetv3_large_075 mobilenetv4_conv_small_035
mobilenetv4_conv_blur_medium mobilenetv4_conv_aa_medium mobilenet_edgetpu_100 mobilenet_edgetpu_v2_xs
mnasnet_small mnasnet_050 semnasnet_050 spnasnet_100 fbnetc_100 fbnetv3_b hardcorenas_a efficientnet_b0
efficientnet_b1_pruned efficientnet_es efficientnet_lite0 efficientnet_blur_b0 efficientnet_b0_gn
efficientnet_b0_g8_gn efficientnet_b0_g16_evos efficientnet_cc_b0_4e efficientnet_x_b3 efficientnet_h_b5
efficientnetv2_rw_t gc_efficientnetv2_rw_t tf_efficientnet_b0 tf_efficientnet_es tf_efficientnet_lite0
tf_efficientnet_cc_b0_4e tf_efficientnetv2_b0 tf_efficientnetv2_s mixnet_s tf_mixnet_s rexnet_100 rexnetr_100
legacy_xception xception41 xception41p xception65 inception_v3 inception_v4
inception_resnet_v2 inception_next_atto densenet121 densenetblur121d dla34 dla46_c dla60_res2net
dla60_res2next dpn48b dpn68 ese_vovnet19b_slim ese_vovnet39b_evos eca_vovnet39b vovnet39a selecsls42
cspresnet50 cspresnet50w cspresnext50 cspdarknet53 darknet17 darknet53 darknetaa53 sedarknet21 cs3darknet_s
cs3darknet_focus_s cs3sedarknet_l cs3edgenet_x cspnext_tiny hrnet_w18_small hrnet_w18_ssld convnext_atto
convnext_atto_ols convnext_zepto_rms convnext_tiny_hnf convnextv2_atto convmixer_768_32 hgnet_tiny hgnetv2_b0
hgnetv2_b4 starnet_s050 rdnet_tiny fasternet_t0 fastvit_t8 fastvit_s12 poolformer_s12 poolformerv2_s12
convformer_s18 repvit_m0_9 mambaout_femto mambaout_small_rw focalnet_tiny_srf vgg11 vgg11_bn nasnetalarge
pnasnet5large
""".split()

# A convolutional stem or stages, and attention; or no convolution beyond the patches at all.
HYBRIDS = """
timm:edgenext_xx_small timm:fastvit_sa12 timm:coatnet_nano_rw_224 timm:coatnet_rmlp_nano_rw_224
timm:coatnext_nano_rw_224 timm:maxvit_pico_rw_256 timm:maxxvit_rmlp_nano_rw_256 timm:mobilevit_xxs
timm:mobilevitv2_050 timm:efficientformer_l1 timm:efficientformerv2_s0 timm:efficientvit_b0
timm:efficientvit_l1 timm:efficientvit_m0 timm:levit_128s timm:levit_conv_128s timm:lowformer_b0
timm:cpubone_nano timm:iformer_t timm:efficientvim_m1 timm:shvit_s1 timm:swiftformer_xs timm:starnet_s100
timm:tiny_vit_5m_224 timm:davit_tiny timm:nextvit_small timm:caformer_s18 timm:mobilenetv4_hybrid_medium
timm:mobilenetv5_300m timm:botnet26t_256 timm:halonet26t timm:eca_halonext26ts timm:lambda_resnet26t
timm:sebotnet33ts_256 timm:resnet50_clip timm:visformer_tiny timm:csatv2 timm:vitamin_small_224
timm:vit_small_r26_s32_224 timm:gcvit_xxtiny timm:pvt_v2_b0 timm:coat_lite_tiny timm:twins_svt_small
timm:sequencer2d_s timm:volo_d1_224 timm:nest_tiny timm:hiera_tiny_224 timm:mvitv2_tiny timm:pit_ti_224
timm:vit_tiny_patch16_224 timm:deit_tiny_patch16_224 timm:crossvit_9_240 timm:swin_tiny_patch4_window7_224
timm:mixer_s32_224 timm:gmixer_12_224 timm:gmlp_ti16_224 timm:resmlp_12_224 timm:convit_tiny
timm:xcit_nano_12_p16_224
torchvision:maxvit_t torchvision:swin_t torchvision:swin_s torchvision:swin_b torchvision:swin_v2_t
torchvision:swin_v2_s torchvision:swin_v2_b torchvision:vit_b_16 torchvision:vit_b_32 torchvision:vit_l_16
torchvision:vit_l_32 torchvision:vit_h_14
""".split()

LARGE = (  # of torchvision; last, as each takes a gigabyte of memory or several, and minutes
    "vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn wide_resnet101_2 convnext_large "
    "efficientnet_v2_l efficientnet_b6 efficientnet_b7 regnet_x_32gf regnet_y_32gf regnet_y_128gf"
).split()


def sections() -> dict[str, str]:
    """Every source, in the order in which they run, and the section of the table that it belongs to."""
    models = import_torchvision().models
    names = [f"torchvision:{name}" for name in models.list_models(module=models)]
    convolutional = sorted((n for n in names if n not in HYBRIDS), key=_largest_last)
    return (
        dict.fromkeys(convolutional, "torchvision")
        | dict.fromkeys((f"timm:{n}" for n in TIMM), "timm")
        | dict.fromkeys(HYBRIDS, "hybrid")
    )


def _largest_last(source: str) -> int:
    name = source.partition(":")[2]
    return LARGE.index(name) + 1 if name in LARGE else 0

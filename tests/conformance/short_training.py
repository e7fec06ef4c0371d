"""What a method is trained with in this suite: for seconds, on discs of 16 pixels."""

SIDE = 16
TRAINED = (  # enough to see a blob
    "networks.base_channels=8",
    "networks.latent_dim=16",
    "training.steps=200",
    "training.batch_size=32",
    "training.learning_rate=0.001",
    "training.ema=0.98",
    "translation.patch=16",  # the largest that fits
    "search.steps=60",
    "search.learning_rate=0.05",
    "data.holdout=0.1",
    "calibration.false_alarm_rate=0.1",
)

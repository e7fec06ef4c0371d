"""Image-to-image translation: CycleGAN, pix2pix and SRGAN as systems of their own, beside `Detector`."""

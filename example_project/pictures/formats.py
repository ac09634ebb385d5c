# Pillow reads many more, some of them by starting other programs. The form and the
# task name these four, so that neither ever tries another.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP")

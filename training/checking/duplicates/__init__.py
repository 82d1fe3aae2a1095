"""Pictures that are there twice: the same pixels, or the same picture resized, encoded anew, cropped or brightened."""

"""What somebody who means ill may try, over the whole service."""

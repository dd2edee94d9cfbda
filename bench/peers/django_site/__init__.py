"""The Django project that `bench/peers/django_ninja.py` serves."""

"""The blog as it should be, in memory: what each request answers and leaves behind, written down a second time and
without the service's code. Only what the trial of the model asks for.
"""

"""Machinery: how rows are asked for. Parser -> plan -> compiled statements -> bytes; and the writer. Knows no
resource by name.
"""

"""Tests of the query path: parser, values, plan, compiler, reader, and the bytes that come out."""

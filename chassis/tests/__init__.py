"""Tests of chassis, on real servers, with a small service of their own."""

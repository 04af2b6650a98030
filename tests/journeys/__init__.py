"""Whole ways through the company, as a person, a website, a system or an auditor goes them."""

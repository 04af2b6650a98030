"""The pages that a person sees. They work without scripts, remember nothing, and tell no other site where one was."""

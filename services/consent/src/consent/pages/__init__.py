"""The policy as people read it: plain HTML without scripts, from exactly the text whose hash was published."""

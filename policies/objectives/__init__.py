"""The objectives of the joint design, one class and one file each (docs/theory.md, sections 3, 3c and 4)."""

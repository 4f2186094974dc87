"""The pages as a static site: `make docs`."""

project = "resnet_lab"
extensions = ["myst_parser"]
exclude_patterns = ["log.md"]
html_theme = "furo"
html_title = "resnet_lab"
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
suppress_warnings = ["myst.xref_missing"]  # links to what lies beside the pages: reports, CONTRIBUTING.md; tests/test_docs.py follows them

"""What a person wrote in YAML: read with line and column, checked against its model.

Configs, prompt recipes and `--set` flags come through here. Importing it loads no torch.
"""

from stillhouse.settings._check import check_settings
from stillhouse.settings._yaml import parse_yaml, read_yaml

__all__ = ["read_yaml", "parse_yaml", "check_settings"]

"""The crash tests stand on the harness of the system tests."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../system"))

"""The soak stands on the harness of the system tests and on the crash loops."""
import os
import sys

HERE = os.path.dirname(__file__)
sys.path[:0] = [HERE, os.path.join(HERE, "../crash"), os.path.join(HERE, "../system")]

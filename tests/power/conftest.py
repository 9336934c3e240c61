"""The tests of power loss stand on the harness of the system tests, and on what the crash loops have."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../system"), os.path.join(HERE, "../crash"), HERE]

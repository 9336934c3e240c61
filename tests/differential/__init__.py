"""HTTP read by us and by others: hostile streams, the servers and proxies of the distribution, and who judges. Stands on the harness of the
system tests."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../system"))

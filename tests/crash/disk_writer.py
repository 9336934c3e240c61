"""Writes the numbers that it reads to a SQLite store, one commit each, and goes on after errors: what the negative control of
loop_disk_errors.py is made of."""
import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for pragma in ("journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 0"):
    connection.execute("PRAGMA " + pragma)
connection.execute("CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY, text TEXT)")
print("ready", flush=True)
for line in sys.stdin:
    try:
        connection.execute("INSERT INTO rows VALUES (?, ?)", (int(line), "x" * 3000))
        print("yes", flush=True)
    except sqlite3.Error as error:
        print("no:", error, flush=True)

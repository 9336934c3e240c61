"""A small file system over a disk whose reads and writes fail on request: nbdkit with its error filter, nbdfuse, a loop device.

Needs root, nbdkit, libnbd-bin and fuse3 (script/deps crash), and the plugin that the Makefile builds. `missing()` says what is not there.
"""
import collections
import ctypes
import os
import shutil
import subprocess
import time

PLUGIN = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../build/release/power/block_log.so"))
# mkfs: its arguments; mib: as small as it may be and hold what the tests put there.
Kind = collections.namedtuple("Kind", "package mkfs mib")
KINDS = {"ext4": Kind("e2fsprogs", ("-q", "-F"), 96), "xfs": Kind("xfsprogs", ("-q", "-f"), 320), "btrfs": Kind("btrfs-progs", ("-q", "-f"), 320)}
NEEDED = {"nbdkit": "nbdkit", "nbdfuse": "libnbd-bin", "fusermount3": "fuse3", "losetup": "mount", "mkfs.ext4": "e2fsprogs"}


def missing(kind="ext4"):
    """Why no such disk can be had here, or None."""
    if os.geteuid() != 0:
        return "not root"
    lacking = [package for program, package in {**NEEDED, f"mkfs.{kind}": KINDS[kind].package}.items() if not shutil.which(program)]
    if lacking:
        return "not installed: " + " ".join(sorted(set(lacking)))
    if not os.path.exists(PLUGIN):
        return f"not built: make {os.path.relpath(PLUGIN)}"
    if not os.path.exists("/dev/fuse") or not os.path.exists("/dev/loop-control"):
        return "no /dev/fuse or no loop devices"
    return None


def run(*command, good=(0,)):
    """What it said; RuntimeError unless its exit status is a good one."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in good:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def mount_apart():
    """What is mounted from now on is seen by this process and its children alone. Others begin mount namespaces, too, and what is mounted
    then lives on in those after it was unmounted here."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x00020000) != 0:  # CLONE_NEWNS
        raise OSError(ctypes.get_errno(), "unshare")
    run("mount", "--make-rprivate", "/")


class SmallDisk:
    """with SmallDisk(directory) as disk: disk.path is mounted; disk.fail("write"), disk.heal(); disk.fail("once"): the next write."""

    def __init__(self, directory, kind="ext4", mib=None, options="noatime"):
        self.directory, self.kind, self.mib, self.options = str(directory), kind, mib or KINDS[kind].mib, options
        self.path = os.path.join(self.directory, "disk")
        self.fuse = os.path.join(self.directory, "nbd")
        self.server = self.bridge = self.loop = None
        self.is_mounted = False

    def __enter__(self):
        try:
            self.begin()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def flag(self, what):
        return os.path.join(self.directory, "fail-" + what)

    def begin(self):
        socket = os.path.join(self.directory, "nbd.sock")
        for path in (self.path, self.fuse):
            os.makedirs(path, exist_ok=True)
        self.server = subprocess.Popen(["nbdkit", "--foreground", "--exit-with-parent", "--unix", socket, *self.served()],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait(lambda: os.path.exists(socket), "nbdkit")
        self.bridge = subprocess.Popen(["nbdfuse", self.fuse, "--unix", socket], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        image = os.path.join(self.fuse, "nbd")
        self.wait(lambda: os.path.exists(image), "nbdfuse")
        self.loop = run("losetup", "--direct-io=on", "--find", "--show", image)  # the file's pages are not kept a second time
        run("mkfs." + self.kind, *KINDS[self.kind].mkfs, self.loop)
        self.mount()

    def served(self):
        """What nbdkit serves: its filters, plugin and their parameters."""
        return ["--filter=error", PLUGIN, f"size={self.mib}M", "once=" + self.flag("once"), "error=EIO", "error-pwrite-rate=100%", "error-pwrite-file=" + self.flag("write"),
                "error-zero-rate=100%", "error-zero-file=" + self.flag("write"), "error-trim-rate=100%", "error-trim-file=" + self.flag("write"),
                "error-pread-rate=100%", "error-pread-file=" + self.flag("read")]

    def wait(self, there, what):
        until = time.monotonic() + 20
        while not there():
            if time.monotonic() > until:
                raise RuntimeError(f"{what} did not start")
            time.sleep(0.02)

    def mount(self):
        run("mount", "-t", self.kind, "-o", self.options, self.loop, self.path)
        self.is_mounted = True

    def unmount(self):
        if self.is_mounted:
            run("umount", self.path)
            self.is_mounted = False

    def remount(self):
        """What the page cache held is gone: what is read then is on the disk."""
        self.unmount()
        self.mount()

    def fail(self, what):
        """Each `read` or `write` of the disk fails from now on, or `once`, the next write."""
        open(self.flag(what), "w").close()

    def heal(self):
        for what in ("read", "write", "once"):
            if os.path.exists(self.flag(what)):
                os.unlink(self.flag(what))

    def end(self):
        self.heal()
        if self.is_mounted and subprocess.run(["umount", self.path], capture_output=True).returncode:
            subprocess.run(["umount", "-l", self.path], capture_output=True)
        self.is_mounted = False
        if self.loop:
            subprocess.run(["losetup", "-d", self.loop], capture_output=True)
        if self.bridge:
            subprocess.run(["fusermount3", "-u", "-z", self.fuse], capture_output=True)
            self.stop(self.bridge)
        if self.server:
            self.stop(self.server)
        self.server = self.bridge = self.loop = None

    @staticmethod
    def stop(process):
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

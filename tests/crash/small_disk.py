"""A small file system over a disk whose reads and writes fail on request: nbdkit with its error filter, nbdfuse, a loop device.

Needs root, nbdkit, libnbd-bin and fuse3 (script/deps crash). `missing()` says what is not there.
"""
import os
import shutil
import subprocess
import time

NEEDED = {"nbdkit": "nbdkit", "nbdfuse": "libnbd-bin", "fusermount3": "fuse3", "losetup": "mount", "mkfs.ext4": "e2fsprogs"}


def missing(kind="ext4"):
    """Why no such disk can be had here, or None."""
    if os.geteuid() != 0:
        return "not root"
    lacking = [package for program, package in {**NEEDED, f"mkfs.{kind}": {"xfs": "xfsprogs"}.get(kind, "e2fsprogs")}.items() if not shutil.which(program)]
    if lacking:
        return "not installed: " + " ".join(sorted(set(lacking)))
    if not os.path.exists("/dev/fuse") or not os.path.exists("/dev/loop-control"):
        return "no /dev/fuse or no loop devices"
    return None


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


class SmallDisk:
    """with SmallDisk(directory) as disk: disk.path is mounted; disk.fail("write"), disk.heal()."""

    def __init__(self, directory, kind="ext4", mib=64, options="noatime"):
        self.directory, self.kind, self.mib, self.options = str(directory), kind, mib, options
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
        self.server = subprocess.Popen(
            ["nbdkit", "--foreground", "--exit-with-parent", "--unix", socket, "--filter=error", "memory", f"{self.mib}M",
             "error=EIO", "error-pwrite-rate=100%", "error-pwrite-file=" + self.flag("write"), "error-zero-rate=100%",
             "error-zero-file=" + self.flag("write"), "error-trim-rate=100%", "error-trim-file=" + self.flag("write"),
             "error-pread-rate=100%", "error-pread-file=" + self.flag("read")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait(lambda: os.path.exists(socket), "nbdkit")
        self.bridge = subprocess.Popen(["nbdfuse", self.fuse, "--unix", socket], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        image = os.path.join(self.fuse, "nbd")
        self.wait(lambda: os.path.exists(image), "nbdfuse")
        self.loop = run("losetup", "--direct-io=on", "--find", "--show", image)  # the file's pages are not kept a second time
        run("mkfs." + self.kind, *{"ext4": ["-q", "-F"], "xfs": ["-q", "-f"]}[self.kind], self.loop)
        self.mount()

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
        """Each `read` or `write` of the disk fails from now on."""
        open(self.flag(what), "w").close()

    def heal(self):
        for what in ("read", "write"):
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

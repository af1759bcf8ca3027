package lockfile

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"golang.org/x/sys/unix"
)

// maxHolders is how many holders of a lock are named.
const maxHolders = 5

// Holders returns the processes that hold a lock on a file (flock), as "pid 4711 (flock pungi-koji)". It
// sees only processes of this host and of this pid namespace: no locks that other hosts hold on NFS.
func Holders(path string) (holders []string) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	if h := liveHolder(f); h != nil {
		return []string{fmt.Sprintf("pid %d on %s (kojisnap %s)", h.PID, h.Host, h.Command)}
	}
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return nil
	}
	pids := lockedBy(st)
	for _, pid := range pids[:min(len(pids), maxHolders)] {
		holders = append(holders, fmt.Sprintf("pid %d (%s)", pid, processName(pid, path)))
	}
	if more := len(pids) - maxHolders; more > 0 {
		holders = append(holders, fmt.Sprintf("%d more", more))
	}
	return holders
}

// lockedBy returns the processes that hold locks on an inode, from /proc/locks, which names the processes that
// took them. If one of those has ended, as flock(1) with a descriptor does, the holders are the processes that
// have the file open.
func lockedBy(st unix.Stat_t) (pids []int) {
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return nil
	}
	// 1: FLOCK  ADVISORY  READ 4711 08:01:131074 0 EOF
	inode := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	ended := false
	for line := range strings.Lines(string(locks)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[5] != inode {
			continue // the second field of a process that waits is "->"
		}
		pid, err := strconv.Atoi(fields[4])
		if err != nil || pid <= 0 || !isProcess(pid) {
			ended = true
		} else if !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	if ended || len(pids) == 0 {
		for _, pid := range havingOpen(st) {
			if !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
	}
	slices.Sort(pids)
	return pids
}

func isProcess(pid int) bool { _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); return err == nil }

// havingOpen returns the processes that hold a lock by an open descriptor. It sees only processes that
// this one may inspect.
func havingOpen(st unix.Stat_t) (pids []int) {
	inode := fmt.Sprintf(":%d ", st.Ino)
	infos, _ := filepath.Glob("/proc/[0-9]*/fdinfo/*")
	for _, info := range infos {
		parts := strings.Split(info, "/") // "", proc, PID, fdinfo, FD
		pid, err := strconv.Atoi(parts[2])
		if err != nil || slices.Contains(pids, pid) || pid == os.Getpid() {
			continue
		}
		body, err := os.ReadFile(info)
		if err != nil || !locksInode(body, inode) {
			continue
		}
		var open unix.Stat_t
		if unix.Stat(fmt.Sprintf("/proc/%d/fd/%s", pid, parts[4]), &open) == nil && open.Dev == st.Dev && open.Ino == st.Ino {
			pids = append(pids, pid)
		}
	}
	return pids
}

// locksInode looks for a flock(2) in what fdinfo says: "lock:	1: FLOCK  ADVISORY  READ 4711 08:01:131074 0 EOF".
func locksInode(fdinfo []byte, inode string) bool {
	lines := bufio.NewScanner(bytes.NewReader(fdinfo))
	for lines.Scan() {
		if line := lines.Text(); strings.HasPrefix(line, "lock:") && strings.Contains(line, "FLOCK") && strings.Contains(line, inode) {
			return true
		}
	}
	return false
}

// processName returns the name of a process and, for flock(1), the command that it runs. It leaves out other
// arguments, which may contain passwords.
func processName(pid int, lock string) string {
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return "ended"
	}
	name := strings.TrimSuffix(string(comm), "\n")
	if name == "flock" {
		args := strings.Split(string(readSome(fmt.Sprintf("/proc/%d/cmdline", pid), 4096)), "\x00")
		if i := slices.IndexFunc(args, func(a string) bool { return filepath.Base(a) == filepath.Base(lock) }); i > 0 && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			name += " " + filepath.Base(args[i+1])
		}
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, name)
}

func readSome(path string, limit int64) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	body, _ := io.ReadAll(io.LimitReader(f, limit))
	return body
}

package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/oneline"
	"kojisnap/kojisnap/trial"
	"kojisnap/volumes"
)

// linkable is what is known of the files of a class.
type linkable struct {
	sample string // the first path of the class
	files  int
	bytes  int64
	err    error // of link(2), nil if that was not tried
}

// count adds a file that exists to its class.
func (v *fileChecks) count(s *fileState) {
	l := v.classes[s.class]
	if l == nil {
		l = &linkable{sample: s.path}
		v.classes[s.class] = l
	}
	l.sample = min(l.sample, s.path)
	l.files++
	l.bytes += s.size
}

// linkChecks try what a compose does with the files: it links them, or copies them, into a repository.
type linkChecks struct{ *fileChecks }

// checkLinks tries whether a compose can link the files. dir is the directory in which it tried that, empty if
// there is none, and ok says that links work. Call remove when done with dir.
func (v linkChecks) checkLinks() (dir string, ok bool, remove func()) {
	c := Check{Name: "links"}
	if len(v.classes) == 0 {
		c.Status, c.Detail = StatusSkipped, "no file to link"
		v.add(c, StatusFailed)
		return "", false, func() {}
	}
	dir, remove, err := v.linkDir()
	if err != nil {
		c.Bad, c.Count, c.Detail = 1, 1, oneline.Of(err).Error()
		if v.ComposeDir == "" {
			c.Status = StatusSkipped // composes may be made on another host
		}
		v.add(c, StatusFailed)
		return "", false, func() {}
	}
	status, copies := StatusWarning, 0
	for _, class := range v.sortedClasses() {
		l := v.classes[class]
		c.Count += l.files
		l.err = v.user.TestLink(l.sample, dir)
		switch {
		case l.err == nil:
			continue
		case errors.Is(l.err, syscall.EXDEV):
			copies += l.files
			if !v.local(class.volume) {
				continue // checkPlacement reports it
			}
			c.bad("%s: %d files on another mount than the compose directory: a compose copies them", v.volumeName(class), l.files)
		default:
			status = StatusFailed
			c.bad("%s: %d files of owner %d, mode %v: %s", v.volumeName(class), l.files, class.uid, class.mode.Perm(), whyNot(l.err))
		}
		c.Bad += l.files - 1
	}
	c.Detail = v.linkDetail(copies)
	v.add(c, status)
	return dir, c.Bad == 0 || status == StatusWarning, remove
}

func (v linkChecks) linkDetail(copies int) string {
	who := "this process's user"
	if v.user != nil {
		who = "user " + v.user.Name
	}
	s := "files, by links made as " + who
	if copies > 0 {
		s += fmt.Sprintf("; %d lie on another mount and are copied", copies)
	}
	return s
}

// whyNot returns the errno of a link that failed, with an explanation if a setting of the kernel forbids it.
func whyNot(err error) string {
	var link *os.LinkError
	if errors.As(err, &link) {
		err = link.Err // the class says which files
	}
	setting, _ := os.ReadFile("/proc/sys/fs/protected_hardlinks")
	if errors.Is(err, syscall.EPERM) && strings.TrimSpace(string(setting)) == "1" {
		return err.Error() + ": fs.protected_hardlinks lets a user link only files that are their own, or that they may read and write"
	}
	return err.Error()
}

func (v linkChecks) volumeName(c fileClass) string { return "volume " + cmp.Or(c.volume, "DEFAULT") }

func (v linkChecks) sortedClasses() []fileClass {
	return slices.SortedFunc(maps.Keys(v.classes), func(a, b fileClass) int {
		return cmp.Or(cmp.Compare(a.volume, b.volume), cmp.Compare(v.classes[a].sample, v.classes[b].sample))
	})
}

// linkDir makes the directory in which links are tried: the compose directory, as the compose user would make
// it, or else a temporary one in topdir.
func (v linkChecks) linkDir() (dir string, remove func(), err error) {
	if v.ComposeDir != "" {
		err := v.user.Do(func() error { return os.MkdirAll(v.ComposeDir, 0o755) })
		return v.ComposeDir, func() {}, err
	}
	if dir, err = os.MkdirTemp(v.clone.base(v.Topdir), ".kojisnap-verify-"); err != nil {
		return "", nil, err
	}
	remove = func() { os.Remove(dir) }
	if v.user != nil && v.user.UID != os.Geteuid() {
		if err := os.Chown(dir, v.user.UID, v.user.GID); err != nil {
			remove()
			return "", nil, err
		}
	}
	return dir, remove, nil
}

// checkRoom compares what a compose has to copy with the room that is free for users other than root.
func (v linkChecks) checkRoom(dir string) (full bool) {
	c := Check{Name: "room"}
	var bytes int64
	for _, l := range v.classes {
		if errors.Is(l.err, syscall.EXDEV) {
			c.Count += l.files
			bytes += l.bytes
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		c.Bad, c.Detail = max(1, c.Count), "what is free cannot be found out: "+(&os.PathError{Op: "statfs", Path: dir, Err: err}).Error()
		v.add(c, StatusFailed)
		return false
	}
	free := int64(fs.Bavail) * int64(fs.Bsize)
	c.Detail = fmt.Sprintf("files to copy, %d bytes", bytes)
	if bytes > free {
		c.Bad = c.Count
		c.Detail += fmt.Sprintf(", and %d are free at %s", free, dir)
	}
	v.add(c, StatusFailed)
	return c.Bad > 0
}

// checkTrial makes a repository for each tag and arch in the compose directory.
func (v linkChecks) checkTrial(ctx context.Context, linkable, full bool) error {
	trees := v.trees()
	c, status := Check{Name: "trial", Count: len(trees)}, StatusFailed
	switch {
	case !linkable:
		c.Status, c.Detail = StatusSkipped, "not tried: files cannot be linked"
	case full:
		c.Status, c.Detail = StatusSkipped, "not tried: there is no room"
	case v.Inside != nil:
		return insideChecks{v}.checkInside(ctx)
	default:
		m := newMeter(v.ComposeDir)
		repos, err := trial.Make(ctx, trial.Options{Dir: v.ComposeDir, Trees: trees, User: v.user})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		sum := trial.Count(repos)
		if v.clone.inClone(v.ComposeDir) {
			defer v.checkCloneLinks(m, repoDirs(repos), sum.Copied)
		}
		c.Detail = fmt.Sprintf("repositories of %d rpms, %d hard links, %d files copied, below %s", sum.RPMs, sum.Linked, sum.Copied, v.ComposeDir)
		switch {
		case errors.Is(err, trial.ErrNoCreaterepo):
			status = StatusWarning
			c.Bad = len(trees)
			c.Detail += ", without metadata: " + err.Error()
		case err != nil:
			c.Bad = len(trees) - len(repos)
			c.Detail = fmt.Sprintf("%v; what was made remains in %s", oneline.Of(err), v.ComposeDir)
		}
	}
	v.add(c, status)
	return nil
}

func repoDirs(repos []trial.Repo) (dirs []string) {
	for _, r := range repos {
		dirs = append(dirs, r.Dir)
	}
	return dirs
}

// trees returns the repositories of a compose: for each tag one for each arch, with the rpms of that arch, of
// compatible arches and noarch, and one of the sources. It leaves out unusable files, which earlier checks have
// reported.
func (v linkChecks) trees() []trial.Tree {
	var trees []trial.Tree
	for _, tag := range v.Want.Tags {
		l := v.listings[tag]
		if l == nil {
			continue
		}
		for _, arch := range v.treeArches(tag, l) {
			t := trial.Tree{Dir: filepath.Join(tag, arch)}
			takes := composeOf(arch)
			for i := range l.rpms {
				r := &l.rpms[i]
				if s := v.states[r.id]; s != nil && s.err == nil && s.path != "" && r.source() == (arch == "source") && takes(r.arch) {
					t.RPMs = append(t.RPMs, s.path)
				}
			}
			slices.Sort(t.RPMs)
			trees = append(trees, t)
		}
	}
	return trees
}

// checkPlacement counts the rpms that a compose has to copy because they are on production's volume.
func (v linkChecks) checkPlacement(tag string, l *listing) {
	c := checkOf("placement", tag)
	var bytes int64
	for i := range l.rpms {
		r := &l.rpms[i]
		s := v.states[r.id]
		if s == nil || s.err != nil {
			continue
		}
		c.Count++
		// Where production's tree is on the same mount, links work.
		if !v.local(s.class.volume) && errors.Is(v.classes[s.class].err, syscall.EXDEV) {
			bytes += s.size
			c.bad("%s: on volume %s", r.nvra(), s.class.volume)
		}
	}
	if c.Bad > 0 {
		c.Detail = fmt.Sprintf("rpms (%d bytes) are readable on production's volume, which is another mount: a compose copies them", bytes)
	}
	status := StatusWarning
	if v.Builds == compose.BuildsNone {
		status = StatusOK // as wanted
	}
	v.add(c, status)
}

// treeArches returns the arches of the repositories of a tag: the wanted ones, or else those of its
// configuration, or else those of its rpms; and "source".
func (v linkChecks) treeArches(tag string, l *listing) []string {
	arches := slices.Clone(v.Arches)
	if len(arches) == 0 {
		arches = slices.Clone(v.arches[tag])
	}
	if len(arches) == 0 {
		for i := range l.rpms {
			if r := &l.rpms[i]; r.arch != "noarch" && !r.source() {
				arches = append(arches, r.arch)
			}
		}
	}
	arches = append(arches, "source")
	slices.Sort(arches)
	return slices.Compact(arches)
}

// composeOf returns a function that reports whether rpms of an arch belong into the repository of arch. It does
// not tell sources from others.
func composeOf(arch string) func(arch string) bool {
	if arch == "source" {
		return func(arch string) bool { return true }
	}
	return volumes.Want{Arches: []string{arch}}.TakesArch()
}

package trial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNoCreaterepo says that createrepo_c is not installed.
var ErrNoCreaterepo = errors.New("createrepo_c is not in $PATH: install the package createrepo_c (Fedora, EL) or createrepo-c (Debian, Ubuntu)")

// Tree is a repository to make.
type Tree struct {
	Dir  string   `json:"dir"`  // relative to Options.Dir, such as f42/x86_64
	RPMs []string `json:"rpms"` // absolute paths; files of the same name must be equal
}

// Options of Make.
type Options struct {
	Dir   string // is made; if it exists, it must be empty
	Trees []Tree
	User  *User
}

// Repo is a repository that was made.
type Repo struct {
	Dir    string `json:"dir"`
	RPMs   int    `json:"rpms"`   // in the repository
	Linked int    `json:"linked"` // hard links
	Copied int    `json:"copied"` // because of EXDEV
	Bytes  int64  `json:"bytes"`  // copied
}

// Count adds up repositories.
func Count(repos []Repo) (sum Repo) {
	for _, r := range repos {
		sum.RPMs += r.RPMs
		sum.Linked += r.Linked
		sum.Copied += r.Copied
		sum.Bytes += r.Bytes
	}
	return sum
}

// CheckDir refuses a directory that is not empty, or that is at or below one of the others after symlinks are
// resolved: a trial must not write among the files that it tries. It changes nothing.
func CheckDir(dir string, others ...string) error {
	resolved, err := resolve(dir)
	if err != nil {
		return fmt.Errorf("compose directory: %w", err)
	}
	for _, other := range others {
		real, err := filepath.EvalSymlinks(other)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("compose directory %s: %w", dir, err)
		}
		if resolved == real || strings.HasPrefix(resolved, strings.TrimSuffix(real, "/")+"/") {
			return fmt.Errorf("compose directory %s: is in %s, where Koji keeps its files", dir, other)
		}
	}
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("compose directory: %w", err)
	case len(entries) > 0:
		return fmt.Errorf("compose directory %s: is not empty: %q is in it", dir, entries[0].Name())
	}
	return nil
}

// resolve resolves the symlinks of a path whose end need not exist yet.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) || path == "/" {
		return real, err
	}
	if _, err := os.Lstat(path); err == nil {
		return "", fmt.Errorf("%s is a symlink that leads nowhere", path)
	}
	parent, err := resolve(filepath.Dir(path))
	return filepath.Join(parent, filepath.Base(path)), err
}

// Make makes a repository of each tree, as a compose does: the rpms as hard links in
// Packages/LETTER/, metadata by createrepo_c, and compares what the metadata names with what
// was linked. Without createrepo_c the repositories have no metadata, and the error is
// ErrNoCreaterepo. After another error, what was made up to there remains, and Make returns the complete
// repositories.
func Make(ctx context.Context, o Options) ([]Repo, error) {
	program, missing := exec.LookPath("createrepo_c")
	l := &linker{copies: map[string]string{}}
	var repos []Repo
	for _, tree := range o.Trees {
		dir := filepath.Join(o.Dir, tree.Dir)
		before := *l
		var files []string
		err := o.User.Do(func() (err error) {
			files, err = l.tree(ctx, dir, tree.RPMs)
			return err
		})
		if err != nil {
			return repos, err
		}
		repo := Repo{Dir: dir, RPMs: len(files), Linked: l.linked - before.linked,
			Copied: l.copied - before.copied, Bytes: l.bytes - before.bytes}
		if missing != nil {
			repos = append(repos, repo)
			continue
		}
		if err := createrepo(ctx, program, dir, o.User); err != nil {
			return repos, err
		}
		named, err := primary(dir)
		if err != nil {
			return repos, fmt.Errorf("repository %s: %w", dir, err)
		}
		if err := equal(files, named); err != nil {
			return repos, fmt.Errorf("repository %s: %w", dir, err)
		}
		repos = append(repos, repo)
	}
	if missing != nil {
		return repos, ErrNoCreaterepo
	}
	return repos, nil
}

// tree links rpms into a directory and returns their paths in it, sorted.
func (l *linker) tree(ctx context.Context, dir string, rpms []string) ([]string, error) {
	packages := filepath.Join(dir, "Packages")
	if err := os.MkdirAll(packages, 0o755); err != nil {
		return nil, err
	}
	letters, files := map[string]bool{}, map[string]bool{}
	for _, src := range rpms {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		name := filepath.Base(src)
		letter := strings.ToLower(name[:1])
		if !letters[letter] {
			if err := os.MkdirAll(filepath.Join(packages, letter), 0o755); err != nil {
				return nil, err
			}
			letters[letter] = true
		}
		file := "Packages/" + letter + "/" + name
		if err := l.put(src, filepath.Join(dir, file)); err != nil {
			return nil, err
		}
		files[file] = true
	}
	var sorted []string
	for f := range files {
		sorted = append(sorted, f)
	}
	slices.Sort(sorted)
	return sorted, nil
}

func createrepo(ctx context.Context, program, dir string, u *User) error {
	// Every version of createrepo_c can write gzip, and Go can read it.
	cmd := exec.CommandContext(ctx, program, "--quiet", "--no-database", "--general-compress-type=gz", dir)
	cmd.SysProcAttr = u.attr()
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("createrepo_c %s: %w: %.300q", dir, err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

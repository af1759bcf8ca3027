package hub

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ProfileFiles returns where Koji's own client looks for profiles: a later file
// overrides an earlier one. In a directory every *.conf is read, sorted by name.
func ProfileFiles() []string {
	files := []string{"/etc/koji.conf.d", "/etc/koji.conf"} // koji.read_config
	if home, err := os.UserHomeDir(); err == nil {
		files = append(files, filepath.Join(home, ".koji/config.d"), filepath.Join(home, ".koji/config"))
	}
	return files
}

// ProfileConfig has the settings of a Koji profile that matter for reading a hub without a login.
type ProfileConfig struct {
	Server   string
	TopURL   string        // empty: none
	Topdir   string        // default /mnt/koji
	ServerCA string        // file or directory of certificate authorities; empty: the system's
	NoVerify bool          // no_ssl_verify: any certificate is accepted; without meaning beside ServerCA
	Timeout  time.Duration // longest silence of the hub; 0: not set
}

// ReadProfile reads a Koji profile, such as "koji" or "stg", from the files and
// directories given, or those of ProfileFiles. Settings that a profile lacks have
// Koji's defaults, serverca ~/.koji/serverca.crt if that file exists; only the
// server is required. Files that do not exist are skipped.
func ReadProfile(name string, files ...string) (*ProfileConfig, error) {
	if len(files) == 0 {
		files = ProfileFiles()
	}
	config := ini{}
	for _, file := range files {
		if err := config.readAll(file); err != nil {
			return nil, fmt.Errorf("koji profile %q: %w", name, err)
		}
	}
	if _, ok := config[name]; !ok || name == defaultSection {
		return nil, fmt.Errorf("koji profile %q: no section of that name in %s", name, strings.Join(files, ", "))
	}
	p, err := config.profile(name)
	if err != nil {
		return nil, fmt.Errorf("koji profile %q: %w", name, err)
	}
	return p, nil
}

func (c ini) profile(name string) (*ProfileConfig, error) {
	p := &ProfileConfig{Topdir: "/mnt/koji", ServerCA: "~/.koji/serverca.crt"}
	var noVerify, timeout string
	for option, to := range map[string]*string{
		"server": &p.Server, "topurl": &p.TopURL, "topdir": &p.Topdir, "serverca": &p.ServerCA, "no_ssl_verify": &noVerify, "timeout": &timeout,
	} {
		if v, ok, err := c.get(name, option, 0); err != nil {
			return nil, fmt.Errorf("%s: %w", option, err)
		} else if ok {
			*to = v
		}
	}
	if p.Server == "" {
		return nil, errors.New("it names no server")
	}
	_, named, _ := c.get(name, "serverca", 0)
	if p.ServerCA = expandUser(p.ServerCA); p.ServerCA != "" {
		if _, err := os.Stat(p.ServerCA); err != nil && named {
			return nil, fmt.Errorf("serverca: %w", err)
		} else if err != nil {
			p.ServerCA = ""
		}
	}
	switch strings.ToLower(noVerify) {
	case "", "0", "no", "false", "off":
	case "1", "yes", "true", "on":
		p.NoVerify = true
	default:
		return nil, fmt.Errorf("no_ssl_verify: %q is neither yes nor no", clip([]byte(noVerify)))
	}
	if timeout != "" {
		seconds, err := strconv.ParseUint(timeout, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("timeout: %q is not a number of seconds", clip([]byte(timeout)))
		}
		p.Timeout = time.Duration(seconds) * time.Second
	}
	return p, nil
}

// expandUser is Python's os.path.expanduser for one's own home.
func expandUser(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}

// ini holds options by section, as Python's ConfigParser reads them.
type ini map[string]map[string]string

const defaultSection = "DEFAULT" // its options are in every section

// readAll reads a file, or every *.conf in a directory.
func (c ini) readAll(path string) error {
	paths := []string{path}
	if entries, err := os.ReadDir(path); err == nil {
		paths = paths[:0]
		for _, e := range entries { // sorted
			if strings.HasSuffix(e.Name(), ".conf") {
				paths = append(paths, filepath.Join(path, e.Name()))
			}
		}
	}
	for _, p := range paths {
		f, err := os.Open(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = c.read(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// read adds the options in r: [section], "option = value" or "option: value",
// indented continuation lines, comments with # or ;.
func (c ini) read(r io.Reader) error {
	var section map[string]string
	option := "" // an indented line continues this one
	s := bufio.NewScanner(r)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimRight(s.Text(), " \t\r")
		text := strings.TrimSpace(line)
		switch {
		case text == "" || text[0] == '#' || text[0] == ';':
		case option != "" && (line[0] == ' ' || line[0] == '\t'):
			section[option] += "\n" + text
		case text[0] == '[':
			end := strings.IndexByte(text, ']')
			if end < 2 {
				return fmt.Errorf("line %d: %q is no section", n, clip([]byte(text)))
			}
			name := text[1:end]
			if c[name] == nil {
				c[name] = map[string]string{}
			}
			section, option = c[name], ""
		case section == nil:
			return fmt.Errorf("line %d: an option outside of a section", n)
		default:
			at := strings.IndexAny(text, "=:")
			if at < 1 {
				return fmt.Errorf("line %d: neither a section nor an option", n)
			}
			option = strings.ToLower(strings.TrimSpace(text[:at]))
			section[option] = strings.TrimSpace(text[at+1:])
		}
	}
	return s.Err()
}

// get returns an option's value with %(other)s replaced and %% made %.
func (c ini) get(section, option string, depth int) (string, bool, error) {
	raw, ok := c[section][option]
	if !ok {
		raw, ok = c[defaultSection][option]
	}
	if !ok {
		return "", false, nil
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(raw, "%")
		b.WriteString(before)
		if !found {
			return b.String(), true, nil
		}
		if rest, ok := strings.CutPrefix(after, "%"); ok {
			b.WriteByte('%')
			raw = rest
			continue
		}
		name, rest, ok := strings.Cut(strings.TrimPrefix(after, "("), ")s")
		if !ok || !strings.HasPrefix(after, "(") || depth >= 10 {
			return "", false, fmt.Errorf("%q: want %%%% or %%(option)s", clip([]byte(raw)))
		}
		v, ok, err := c.get(section, strings.ToLower(name), depth+1)
		if err != nil {
			return "", false, err
		}
		if !ok {
			return "", false, fmt.Errorf("%%(%s)s: no such option", name)
		}
		b.WriteString(v)
		raw = rest
	}
}

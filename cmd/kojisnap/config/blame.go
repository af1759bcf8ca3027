package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// KeyFault says what is wrong with the value of a key.
type KeyFault struct {
	Key string // file, line, table and name; empty: no key explains the fault
	Err error
	in  []string // the files
	at  setting
}

func (f *KeyFault) Error() string {
	if f.Key == "" {
		return fmt.Sprintf("configuration %s: %v", strings.Join(f.in, ", "), f.Err)
	}
	return fmt.Sprintf("configuration %s: %v", f.Key, f.Err)
}

func (f *KeyFault) Unwrap() error { return f.Err }

// Compare orders faults by file and line.
func (f *KeyFault) Compare(other *KeyFault) int {
	return cmp.Or(slices.Index(f.in, f.at.file)-slices.Index(f.in, other.at.file), f.at.line-other.at.line)
}

// Blame runs a check of the keys of some sections, and returns a fault for each key that it refuses. A check stops at
// its first fault. So Blame looks for the key without which that fault is gone, notes it, and runs the check without
// the key for the next one. If a fault is about several keys, it is told once. The check gets a configuration as this
// environment sees it.
func (c *Config) Blame(sections []string, check func(*Config) error) []*KeyFault {
	var faults []*KeyFault
	told := ""
	for {
		err := check(c)
		if err == nil {
			return faults
		}
		guilty, without := c.culprit(sections, err, check)
		if without == nil {
			return append(faults, &KeyFault{"", err, c.files, setting{}})
		}
		if !strings.Contains(told, "--"+guilty.key+" ") {
			faults = append(faults, &KeyFault{c.values[guilty].at() + ": " + c.name(guilty), err, c.files, c.values[guilty]})
		}
		told += err.Error() + "\n"
		c = without
	}
}

// culprit returns the place of a key without which a check does not fail, or fails otherwise, and the configuration
// without the key. The configuration is nil if there is no such key.
func (c *Config) culprit(sections []string, err error, check func(*Config) error) (place, *Config) {
	for _, k := range c.suspects(sections, err.Error()) {
		without := c.without(k)
		if again := check(without); again == nil || again.Error() != err.Error() {
			p, _ := c.find(k.table, k.key)
			return p, without
		}
	}
	return place{}, nil
}

// suspects returns the keys that the configuration has for some sections, first those that a message names.
func (c *Config) suspects(sections []string, message string) []place {
	all := map[place]bool{}
	for p := range c.values {
		if p.env != "" && p.env != c.env {
			continue
		}
		switch {
		case p.table == "":
			for _, s := range sections {
				all[place{"", s, p.key}] = true
			}
		case p.table == volumesTable || slices.Contains(sections, p.table):
			all[place{"", p.table, p.key}] = true
		}
	}
	names := func(p place) int {
		if strings.Contains(message, "--"+p.key) {
			return 0
		}
		return 1
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b place) int {
		if d := names(a) - names(b); d != 0 {
			return d
		}
		return strings.Compare(a.table+" "+a.key, b.table+" "+b.key)
	})
}

// without returns the configuration without what it says about a key of a table.
func (c *Config) without(k place) *Config {
	less := *c
	less.values = maps.Clone(c.values)
	for _, p := range c.places(k.table, k.key) {
		delete(less.values, p)
	}
	return &less
}

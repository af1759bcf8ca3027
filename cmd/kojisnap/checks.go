package main

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/secret"
)

// Checks of flags that only one command, or two, have.

// checkURL refuses what a flag cannot take for the URL of a server.
func checkURL(flag, value string) error {
	u, err := url.Parse(value)
	if value == "" || err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" {
		return nil
	}
	return usagef("--%s %q: want http://HOST/PATH or https://HOST/PATH", flag, secret.HideURL(value))
}

// checkNames refuses an empty text in a list of names.
func checkNames(flag string, names []string) error {
	if slices.Contains(names, "") {
		return usagef("--%s \"\": a name is wanted", flag)
	}
	return nil
}

// checkLimits refuses limits of what is no source.
func checkLimits(l *config.Limits, sources []string) error {
	for _, s := range slices.Sorted(maps.Keys(l.Of)) {
		if slices.Contains(sources, s) {
			continue
		}
		if len(sources) == 0 {
			return usagef("--bwlimit %s=RATE: no --source is given", withoutPassword(s))
		}
		var have []string
		for _, s := range sources {
			have = append(have, withoutPassword(s))
		}
		return usagef("--bwlimit %s=RATE: is no source; there are %s", withoutPassword(s), strings.Join(have, ", "))
	}
	return nil
}

// withoutPassword is a source for people.
func withoutPassword(source string) string {
	if _, err := url.Parse(source); err != nil && strings.Contains(source, "://") {
		return "a URL that is none"
	}
	return secret.Hide(source)
}

// checkBuilds refuses what names no build.
func checkBuilds(b config.BuildNames) error {
	for _, name := range b {
		if err := pull.CheckBuildName(name); err != nil {
			return usagef("--build: %w", err)
		}
	}
	return nil
}

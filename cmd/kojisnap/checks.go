package main

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/kojisnap/pull/scope"
	"kojisnap/kojisnap/secret"
)

// checkURL refuses a flag's value that is not the URL of a server.
func checkURL(flag, value string) error {
	u, err := url.Parse(value)
	if value == "" || err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" {
		return nil
	}
	return usagef("--%s %q: want http://HOST/PATH or https://HOST/PATH", flag, secret.HideURL(value))
}

// checkNames refuses a list with an empty name.
func checkNames(flag string, names []string) error {
	if slices.Contains(names, "") {
		return usagef("--%s \"\": a name is wanted", flag)
	}
	return nil
}

// checkLimits refuses limits of sources that are not given.
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

// withoutPassword returns a source for messages.
func withoutPassword(source string) string {
	if _, err := url.Parse(source); err != nil && strings.Contains(source, "://") {
		return "a URL that is none"
	}
	return secret.Hide(source)
}

// checkBuilds refuses texts that cannot name a build.
func checkBuilds(b config.BuildNames) error {
	for _, name := range b {
		if err := scope.CheckBuildName(name); err != nil {
			return usagef("--build: %w", err)
		}
	}
	return nil
}

package flags

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/kojisnap/pull/scope"
	"kojisnap/kojisnap/secret"
)

// CheckURL refuses a flag's value that is not the URL of a server.
func CheckURL(flag, value string) error {
	u, err := url.Parse(value)
	if value == "" || err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" {
		return nil
	}
	return exit.Usagef("--%s %q: want http://HOST/PATH or https://HOST/PATH", flag, secret.HideURL(value))
}

// CheckNames refuses a list with an empty name.
func CheckNames(flag string, names []string) error {
	if slices.Contains(names, "") {
		return exit.Usagef("--%s \"\": a name is wanted", flag)
	}
	return nil
}

// CheckLimits refuses limits of sources that are not given.
func CheckLimits(l *config.Limits, sources []string) error {
	for _, s := range slices.Sorted(maps.Keys(l.Of)) {
		if slices.Contains(sources, s) {
			continue
		}
		if len(sources) == 0 {
			return exit.Usagef("--bwlimit %s=RATE: no --source is given", withoutPassword(s))
		}
		var have []string
		for _, s := range sources {
			have = append(have, withoutPassword(s))
		}
		return exit.Usagef("--bwlimit %s=RATE: is no source; there are %s", withoutPassword(s), strings.Join(have, ", "))
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

// CheckBuilds refuses texts that cannot name a build.
func CheckBuilds(b config.BuildNames) error {
	for _, name := range b {
		if err := scope.CheckBuildName(name); err != nil {
			return exit.Usagef("--build: %w", err)
		}
	}
	return nil
}

package main

import "strings"

// commit names the sources that were built: -ldflags "-X main.commit=0123abcd". Packages and the image set it.
var commit string

// versionLine is what --version prints: the name, the version, and the commit if the build set it.
func versionLine() string {
	line := "kojisnap " + version
	if commit := strings.TrimSpace(commit); commit != "" {
		line += " (" + commit + ")"
	}
	return line
}

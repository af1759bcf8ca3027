// Package volumestest makes a volumes.Input of the rows of the kojiprod data, for
// tests of what plans and copies files.
package volumestest

import (
	"encoding/csv"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/volumes"
)

// Input is all complete builds of the data (build.state 1) with all of their files.
func Input(t testing.TB) volumes.Input {
	t.Helper()
	volumeNames := names(t, "volume")
	packages := names(t, "package")
	btypes := names(t, "btype")
	builds := map[string]*volumes.BuildFiles{}
	var order []string
	for _, r := range rows(t, "build") {
		if r["state"] != "1" {
			continue
		}
		order = append(order, r["id"])
		builds[r["id"]] = &volumes.BuildFiles{Build: volumes.Build{Name: packages[r["pkg_id"]],
			Version: r["version"], Release: r["release"], Volume: volumeNames[r["volume_id"]]}}
	}
	sigs := map[string][]volumes.Signature{}
	for _, r := range rows(t, "rpmsigs") {
		sigs[r["rpm_id"]] = append(sigs[r["rpm_id"]], volumes.Signature{Key: r["sigkey"], Hash: r["sighash"]})
	}
	for _, r := range rows(t, "rpminfo") {
		b := builds[r["build_id"]]
		if b == nil {
			continue
		}
		b.RPMs = append(b.RPMs, volumes.RPMFile{
			RPM:  volumes.RPM{Name: r["name"], Version: r["version"], Release: r["release"], Arch: r["arch"]},
			Size: number(t, r["size"]), PayloadHash: r["payloadhash"], MetadataOnly: r["metadata_only"] == "t", Sigs: sigs[r["id"]],
		})
	}
	maven, win, image := byArchive(t, "maven_archives"), byArchive(t, "win_archives"), byArchive(t, "image_archives")
	for _, r := range rows(t, "archiveinfo") {
		b := builds[r["build_id"]]
		if b == nil {
			continue
		}
		var path string
		var err error
		if m := maven[r["id"]]; m != nil {
			path, err = volumes.MavenPath(m["group_id"], m["artifact_id"], m["version"], r["filename"])
		} else if w := win[r["id"]]; w != nil {
			path, err = volumes.WinPath(w["relpath"], r["filename"])
		} else if image[r["id"]] != nil {
			path, err = volumes.ImagePath(r["filename"])
		} else {
			path, err = volumes.TypePath(btypes[r["btype_id"]], r["filename"])
		}
		if err != nil {
			t.Fatal(err)
		}
		b.Archives = append(b.Archives, volumes.ArchiveFile{Path: path, BType: btypes[r["btype_id"]], Size: number(t, r["size"]),
			Checksum: r["checksum"], ChecksumType: int(number(t, r["checksum_type"])), MetadataOnly: r["metadata_only"] == "t"})
	}
	var in volumes.Input
	for _, id := range order {
		in.Builds = append(in.Builds, *builds[id])
	}
	return in
}

// Split moves the builds for which keep returns false to the others: they are linked, not copied.
func Split(in volumes.Input, keep func(volumes.BuildFiles) bool) volumes.Input {
	out := volumes.Input{Others: slices.Clone(in.Others)}
	for _, b := range in.Builds {
		if keep(b) {
			out.Builds = append(out.Builds, b)
		} else {
			out.Others = append(out.Others, volumes.Other{Build: b.Build, Files: len(b.RPMs) > 0})
		}
	}
	return out
}

func names(t testing.TB, table string) map[string]string {
	m := map[string]string{}
	for _, r := range rows(t, table) {
		m[r["id"]] = r["name"]
	}
	return m
}

func byArchive(t testing.TB, table string) map[string]map[string]string {
	m := map[string]map[string]string{}
	for _, r := range rows(t, table) {
		m[r["archive_id"]] = r
	}
	return m
}

// tables are the rows that were read. Nobody changes them.
var tables sync.Map

// rows reads TABLE.tsv, once for all tests. The columns read here need no unescaping: they hold names
// and numbers.
func rows(t testing.TB, table string) []map[string]string {
	t.Helper()
	if known, ok := tables.Load(table); ok {
		return known.([]map[string]string)
	}
	b, err := fs.ReadFile(kojiprod.Rows(), table+".tsv")
	if err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(strings.NewReader(string(b)))
	r.Comma, r.LazyQuotes = '\t', true
	all, err := r.ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", table, err)
	}
	var out []map[string]string
	for _, fields := range all[1:] {
		row := map[string]string{}
		for i, f := range fields {
			row[all[0][i]] = f
		}
		out = append(out, row)
	}
	tables.Store(table, out)
	return out
}

func number(t testing.TB, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

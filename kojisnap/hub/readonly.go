package hub

import (
	"fmt"
	"slices"
)

// readOnly lists every method that may be called: all of Koji's methods that
// only read and that a pull, a verification or a comparison of two hubs calls. A
// method belongs here only if hub/kojihub.py shows that it changes nothing for
// an anonymous caller. Left out on purpose are
//
//   - methods that run a method named in their arguments: count,
//     filterResults, countAndFilterResults, multiCall (see Multi);
//   - methods that read files on the hub's disk at its cost and say nothing
//     about rows: listRPMFiles, downloadTaskOutput, listArchiveFiles;
//   - methods that return data that must not leave production: getBuildNotifications (e-mail
//     addresses), getTaskRequest, showSession.
var readOnly = map[string]func(Call) error{
	// The hub itself.
	"getAPIVersion":      nil,
	"getKojiVersion":     nil,
	"system.listMethods": nil,
	"_listapi":           nil,
	"echo":               nil,

	// Events and history.
	"getEvent":             nil,
	"getLastEvent":         nil,
	"queryHistory":         nil,
	"tagChangedSinceEvent": nil,
	"tagFirstChangeEvent":  nil,
	"tagLastChangeEvent":   nil,

	// Names and types.
	"getAllArches":       nil,
	"getAllPerms":        nil,
	"getArchiveType":     nil,
	"getArchiveTypes":    nil,
	"getChannel":         nil,
	"getGroupMembers":    nil,
	"getHost":            nil,
	"getUser":            nil,
	"getUserGroups":      nil,
	"getUserPerms":       nil,
	"getVolume":          nil,
	"listBTypes":         nil,
	"listCGs":            nil,
	"listChannels":       nil,
	"listHosts":          nil,
	"listUsers":          nil,
	"listVolumes":        nil,
	"getExternalRepo":    nil,
	"listExternalRepos":  nil,
	"getBuildTarget":     nil,
	"getBuildTargets":    nil,
	"getPackage":         nil,
	"getPackageID":       nil,
	"listPackagesSimple": nil,
	"search":             nil,

	// Tags.
	"getTag":              nil,
	"getTagID":            nil,
	"listTags":            nil,
	"listSideTags":        nil, // plugin sidetag
	"getBuildConfig":      nil,
	"getInheritanceData":  nil,
	"getFullInheritance":  nil,
	"getTagGroups":        nil,
	"getTagExternalRepos": nil,
	"getExternalRepoList": nil,
	"getPackageConfig":    nil,
	"listPackages":        nil,
	"listTagged":          nil,
	"listTaggedRPMS":      nil,
	"listTaggedArchives":  nil,
	"getLatestBuilds":     nil,
	"getLatestRPMS":       nil,
	"checkTagPackage":     nil,

	// Builds.
	"findBuildID":            nil,
	"getBuild":               nil,
	"getBuildLogs":           nil,
	"getBuildType":           nil,
	"getImageBuild":          nil,
	"getMavenBuild":          nil,
	"getWinBuild":            nil,
	"getNextRelease":         nil,
	"listBuilds":             nil,
	"untaggedBuilds":         nil,
	"getLatestMavenArchives": nil,

	// Rpms and archives.
	"getRPM":          nil,
	"getRPMChecksums": onlyCached,
	"getRPMHeaders":   nil,
	"listBuildRPMs":   nil,
	"listRPMs":        nil,
	"queryRPMSigs":    nil,
	"getArchive":      nil,
	"getImageArchive": nil,
	"getMavenArchive": nil,
	"getWinArchive":   nil,
	"listArchives":    nil,

	// Repositories, buildroots, tasks.
	"getActiveRepos":           nil,
	"getRepo":                  nil,
	"repoInfo":                 nil,
	"repo.get":                 nil,
	"repo.query":               nil,
	"repo.getExternalRepoData": nil,
	"getBuildroot":             nil,
	"listBuildroots":           nil,
	"getTaskInfo":              nil,
	"listTasks":                nil,
}

// checkRead returns an error that is ErrRefused if the call may change
// something on the hub, or hold locks there.
func checkRead(call Call) error {
	check, ok := readOnly[call.Method]
	if !ok {
		return fmt.Errorf("call %q: %w", call.Method, ErrRefused)
	}
	for _, arg := range call.Args {
		if m, ok := arg.(map[string]any); ok {
			if _, ok := m["__starstar"]; ok {
				return fmt.Errorf("call %s: %w: named arguments belong in Kwargs", call.Method, ErrRefused)
			}
		}
	}
	// queryOpts (and repo.query's opts) with rowlock add FOR UPDATE to the
	// statement, for any caller (QueryProcessor in kojihub's db.py).
	if hasKey(call.Args, "rowlock") || hasKey(call.Kwargs, "rowlock") {
		return fmt.Errorf("call %s: %w: rowlock", call.Method, ErrRefused)
	}
	if check != nil {
		return check(call)
	}
	return nil
}

// onlyCached: without cacheonly, getRPMChecksums(rpm_id, checksum_types,
// cacheonly) hashes files on the hub and inserts the sums.
func onlyCached(call Call) error {
	if only, _ := call.Kwargs["cacheonly"].(bool); only && len(call.Args) < 3 {
		return nil
	}
	if len(call.Args) >= 3 && call.Args[2] == true {
		return nil
	}
	return fmt.Errorf("call %s: %w without cacheonly=True", call.Method, ErrRefused)
}

func hasKey(v any, key string) bool {
	switch v := v.(type) {
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return hasKey(e, key) })
	case map[string]any:
		for k, e := range v {
			if k == key || hasKey(e, key) {
				return true
			}
		}
	}
	return false
}

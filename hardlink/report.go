package hardlink

// Report is what Apply did.
type Report struct {
	Present      int    `json:"present"` // files that were there already
	Absent       int    `json:"absent"`  // optional files that production does not have
	Adopted      int    `json:"adopted"` // those that the ledger did not have
	Linked       int    `json:"hardlinked"`
	Reflinked    int    `json:"reflinked"`
	Copied       int    `json:"copied"`
	Spliced      int    `json:"spliced"`
	Fetched      int    `json:"fetched"`
	Symlinked    int    `json:"symlinked"`
	Bytes        int64  `json:"bytes"`         // of files made
	FetchedBytes int64  `json:"fetched_bytes"` // of those from a URL or a bucket
	Builds       int    `json:"builds"`
	Links        int    `json:"links"`   // of volumes and on DEFAULT
	Strays       int    `json:"strays"`  // directories removed that failed moves had left
	Removed      int    `json:"removed"` // builds
	RemovedFiles int    `json:"removed_files"`
	RemovedBytes int64  `json:"removed_bytes"`
	RemovedLinks int    `json:"removed_links"`
	Stale        int    `json:"stale"`   // files and symlinks of wanted builds, removed because production does not have them any longer
	Owned        int    `json:"owned"`   // files, directories and symlinks that got an owner or a mode
	Leaving      int    `json:"leaving"` // builds that were found unwanted
	Grace        int    `json:"grace"`   // builds that are unwanted and kept for some time yet
	Kept         []Kept `json:"kept,omitempty"`
}

func (r *Report) count(op Op, bytes int64) {
	switch op {
	case OpLink:
		r.Linked++
	case OpReflink:
		r.Reflinked++
	case OpCopy:
		r.Copied++
	case OpSplice:
		r.Spliced++
	case OpFetch:
		r.Fetched++
		r.FetchedBytes += bytes
	case OpSymlink:
		r.Symlinked++
	}
	r.Bytes += bytes
}

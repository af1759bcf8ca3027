package volumes

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// RPMDigest returns the digest that verifies an rpm, from rpminfo.payloadhash: usually SIGMD5. For an rpm
// without SIGMD5, as rpm 6 makes them, the column has nothing, "(none)" or a SHA-256. The digest is then
// "rpmsha256:" and that SHA-256, if there is one. Such an rpm is verified with its own SHA-256 digests of
// header and payload; the given SHA-256 must be one of the two.
func RPMDigest(payloadHash string) (string, error) {
	switch {
	case payloadHash == "" || payloadHash == "(none)":
		return "rpmsha256:", nil
	case len(payloadHash) == 64:
		sum, err := digest("sha256", payloadHash)
		if err != nil {
			return "", err
		}
		return "rpm" + sum, nil
	}
	return digest("sigmd5", payloadHash)
}

// Headers makes File.Headers from an rpm's signatures. It leaves out rows without a valid hash.
func Headers(sigs []Signature) string {
	sigs = slices.Clone(sigs)
	slices.SortFunc(sigs, func(a, b Signature) int { return strings.Compare(a.Key+" "+a.Hash, b.Key+" "+b.Hash) })
	var list []string
	for _, s := range sigs {
		if sum, err := digest("md5", s.Hash); err == nil && !strings.ContainsAny(s.Key, " =") {
			list = append(list, strings.ToLower(s.Key)+"="+sum)
		}
	}
	return strings.Join(list, " ")
}

// StatDigest stands for the digest of a file that no row of the database names: its size and its time at the source, in ns
// since 1970. If either changes, production has another file there.
func StatDigest(size, mtime int64) string { return fmt.Sprintf("%s:%d:%d", statAlgorithm, size, mtime) }

// StatTime returns the time in a StatDigest; ok is false if the digest is another one.
func StatTime(digest string) (mtime int64, ok bool) {
	rest, ok := strings.CutPrefix(digest, statAlgorithm+":")
	if !ok {
		return 0, false
	}
	_, ns, _ := strings.Cut(rest, ":")
	mtime, err := strconv.ParseInt(ns, 10, 64)
	return mtime, err == nil
}

const statAlgorithm = "stat"

// digest checks that hex is a digest of the algorithm.
func digest(algorithm, hex string) (string, error) {
	size := 32
	switch algorithm {
	case "sha1":
		size = 40
	case "sha256":
		size = 64
	}
	ok, upper := len(hex) == size, false
	for i := range len(hex) {
		c := hex[i]
		big := c >= 'A' && c <= 'F'
		upper = upper || big
		ok = ok && (c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || big)
	}
	if !ok {
		return "", fmt.Errorf("%q is not a digest of %d hex digits", hex, size)
	}
	if upper {
		hex = strings.ToLower(hex)
	}
	return algorithm + ":" + hex, nil
}

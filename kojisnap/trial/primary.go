package trial

import (
	"compress/gzip"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// primary returns the paths of rpms that a repository's metadata names, sorted.
func primary(dir string) ([]string, error) {
	path, err := metadata(dir, "primary")
	if err != nil {
		return nil, err
	}
	return hrefs(path)
}

// metadata returns the path of a repository's metadata of a type.
func metadata(dir, kind string) (string, error) {
	var repomd struct {
		Data []struct {
			Type     string `xml:"type,attr"`
			Location struct {
				Href string `xml:"href,attr"`
			} `xml:"location"`
		} `xml:"data"`
	}
	text, err := os.ReadFile(filepath.Join(dir, "repodata", "repomd.xml"))
	if err != nil {
		return "", err
	}
	if err := xml.Unmarshal(text, &repomd); err != nil {
		return "", fmt.Errorf("repomd.xml: %w", err)
	}
	for _, d := range repomd.Data {
		if d.Type != kind {
			continue
		}
		if !strings.HasPrefix(d.Location.Href, "repodata/") || !filepath.IsLocal(d.Location.Href) {
			return "", fmt.Errorf("repomd.xml: %s is at %q", kind, d.Location.Href)
		}
		return filepath.Join(dir, d.Location.Href), nil
	}
	return "", fmt.Errorf("repomd.xml names no %s", kind)
}

func hrefs(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	gz, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var files []string
	for d := xml.NewDecoder(gz); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			slices.Sort(files)
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if el, ok := token.(xml.StartElement); ok && el.Name.Local == "location" {
			for _, a := range el.Attr {
				if a.Name.Local == "href" {
					files = append(files, a.Value)
				}
			}
		}
	}
}

// equal compares two sorted lists.
func equal(linked, named []string) error {
	var lack, more []string
	for _, f := range linked {
		if _, ok := slices.BinarySearch(named, f); !ok {
			lack = append(lack, f)
		}
	}
	for _, f := range named {
		if _, ok := slices.BinarySearch(linked, f); !ok {
			more = append(more, f)
		}
	}
	switch {
	case len(lack) > 0:
		return fmt.Errorf("%d of %d rpms are not in primary.xml: %s first", len(lack), len(linked), lack[0])
	case len(more) > 0:
		return fmt.Errorf("primary.xml names %d rpms that were not linked: %s first", len(more), more[0])
	case len(named) != len(linked):
		return fmt.Errorf("primary.xml names %d rpms, %d were linked", len(named), len(linked))
	}
	return nil
}

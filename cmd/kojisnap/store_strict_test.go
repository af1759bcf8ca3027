package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/store/s3/s3test"
)

// TestStrictStore: a store that refuses If-None-Match and the SDK's checksums takes snapshots.
func TestStrictStore(t *testing.T) {
	rows := modularRows(t)
	hub := httptest.NewServer(hubtest.New(rows, hubtest.Options{}))
	defer hub.Close()
	srv := s3test.Start(t)
	if srv.Endpoint == "" {
		t.Skip("KOJISNAP_TEST_S3 is given: nothing can be put before its server")
	}
	store, refused := srv.Strict(t)
	var ids []string
	for _, event := range []string{"400", "419"} {
		out := kojisnapOK(t, "pull", "--hub", hub.URL+"/kojihub", "--tag", "f42-compose", "--event", event, "--store", store)
		ids = append(ids, strings.TrimSpace(out))
	}
	list := kojisnapOK(t, "snapshots", "--store", store)
	for _, id := range ids {
		if !strings.Contains(list, id) {
			t.Errorf("%s is not in %q", id, list)
		}
	}
	if refused.Load() == 0 {
		t.Error("the store was never asked for what it refuses")
	}
}

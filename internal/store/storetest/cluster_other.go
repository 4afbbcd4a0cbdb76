//go:build !linux && !darwin

package storetest

import "context"

func startCluster(context.Context) (serverURL, missing string, err error) {
	return "", "RIALTO_TEST_POSTGRES is not set, and a server is only started on Linux and macOS", nil
}

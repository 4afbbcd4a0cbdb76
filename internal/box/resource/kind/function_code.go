package kind

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

// maxSource is how long ZipFile can be. AWS: 4 MB.
const maxSource = 4 << 20

// sourceName is the file that a function's source is, empty where a runtime has none. AWS: these two and no other.
func sourceName(m resource.Model) string {
	runtime := text(m["Runtime"])
	switch {
	case strings.HasPrefix(runtime, "nodejs"):
		return "index.js"
	case strings.HasPrefix(runtime, "python"):
		return "index.py"
	}
	return ""
}

// codeIn is the code that a model asks for. ZipFile, which is the source of a function here, is packed.
func codeIn(m resource.Model) (*lambda.FunctionCode, error) {
	code, _ := m["Code"].(map[string]any)
	if v := text(code["S3ObjectStorageMode"]); v != "" && v != "COPY" {
		return nil, invalid("Code/S3ObjectStorageMode", "must be COPY or left out.")
	}
	in := &lambda.FunctionCode{}
	if err := shape("Code", pick(code, "S3Bucket", "S3Key", "S3ObjectVersion", "ImageUri", "SourceKMSKeyArn"), in); err != nil {
		return nil, err
	}
	source, given := scalar(code["ZipFile"])
	if !given {
		return in, nil
	}
	name := sourceName(m)
	switch {
	case name == "":
		return nil, invalid("Code/ZipFile", "is the source of a function, which only the runtimes nodejs and python have. For %q make the function with the CLI: aws lambda create-function --zip-file fileb://function.zip.", text(m["Runtime"]))
	case len(source) > maxSource:
		return nil, invalid("Code/ZipFile", "is %d bytes long; %d are allowed.", len(source), maxSource)
	}
	packed, err := pack(name, source)
	in.ZipFile = packed
	return in, err
}

// packedAt is the time of packed files: the same source makes the same package.
var packedAt = time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC)

// pack returns a zip file with one file.
func pack(name, content string) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: packedAt}
	header.SetMode(0o644)
	file, err := w.CreateHeader(header)
	if err == nil {
		_, err = file.Write([]byte(content))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// sum is the hash of a package as Lambda shows it.
func sum(code *lambda.FunctionCode) string {
	hash := sha256.Sum256(code.ZipFile)
	return base64.StdEncoding.EncodeToString(hash[:])
}

package function

import "encoding/json"

// failedRecords reads a function's answer in a mapping with ReportBatchItemFailures, and
// returns the messages that it failed. AWS: an answer that is empty, null or {}, or whose
// batchItemFailures are missing, null or empty, has failed none; one that is no JSON, or
// names a message that is not in the batch, or names none where it should, has failed all.
func failedRecords(answer []byte, batch []*record) []*record {
	named, ok := failedIDs(answer)
	if !ok {
		return batch
	}
	var failed []*record
	for _, r := range batch {
		if named[r.MessageID] {
			failed = append(failed, r)
			delete(named, r.MessageID)
		}
	}
	if len(named) > 0 {
		return batch
	}
	return failed
}

// failedIDs returns the ids in an answer; false where it cannot be read. Names are
// taken as they are written, which encoding/json does for maps only.
func failedIDs(answer []byte) (map[string]bool, bool) {
	if len(answer) == 0 {
		return nil, true
	}
	var top map[string]json.RawMessage
	if json.Unmarshal(answer, &top) != nil {
		return nil, false
	}
	list, given := top["batchItemFailures"]
	if !given {
		return nil, true
	}
	var items []map[string]json.RawMessage
	if json.Unmarshal(list, &items) != nil {
		return nil, false
	}
	ids := map[string]bool{}
	for _, item := range items {
		var id string
		if json.Unmarshal(item["itemIdentifier"], &id) != nil || id == "" {
			return nil, false
		}
		ids[id] = true
	}
	return ids, true
}

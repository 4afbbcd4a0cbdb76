package function

import (
	"context"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/store"
)

// create stores the function and its code. made is called within the transaction, once all of fn
// is known; like it, it may be called again.
func (f *Functions) create(ctx context.Context, fn *Function, packed []byte, made func()) error {
	p, err := checkPackage(packed, "CreateFunction")
	if err != nil {
		return err
	}
	if have, err := f.readFunction(ctx, f.db, fn.Ref); err != nil || have != nil {
		return orExists(err, fn)
	}
	if err := f.storeCode(awsapi.Untrailed(ctx), packed, p); err != nil {
		return err
	}
	insert := func(tx *store.Tx) error {
		if have, err := f.readFunction(ctx, tx, fn.Ref); err != nil || have != nil {
			return orExists(err, fn)
		}
		fn.CodeSize = 0
		if err := f.adopt(ctx, tx, fn, p); err != nil {
			return err
		}
		fn.Revision, fn.Modified = uuid.NewString(), f.now()
		made()
		return f.insertFunction(ctx, tx, fn)
	}
	err = f.db.Update(ctx, insert)
	if store.IsUnique(err) { // another node made it meanwhile
		return errExists(fn.Name)
	}
	return err
}

func orExists(err error, fn *Function) error {
	if err != nil {
		return err
	}
	return errExists(fn.Name)
}

// change makes the function what edit makes of it. edit may be called again.
func (f *Functions) change(ctx context.Context, r Ref, edit func(tx *store.Tx, fn *Function) error) error {
	return f.db.Update(ctx, func(tx *store.Tx) error {
		fn, err := f.findIn(ctx, tx, r)
		if err != nil {
			return err
		}
		if err := edit(tx, fn); err != nil {
			return err
		}
		return f.updateFunction(ctx, tx, fn)
	})
}

// replaceCode gives the function another package. changed is called within the transaction.
func (f *Functions) replaceCode(ctx context.Context, r Ref, revision *string, packed []byte, changed func(*Function)) error {
	p, err := checkPackage(packed, "UpdateFunctionCode")
	if err != nil {
		return err
	}
	if err := f.storeCode(awsapi.Untrailed(ctx), packed, p); err != nil {
		return err
	}
	return f.change(ctx, r, func(tx *store.Tx, fn *Function) error {
		if err := fn.checkRevision(revision, "GetFunction/GetAlias"); err != nil {
			return err
		}
		if err := f.adopt(ctx, tx, fn, p); err != nil {
			return err
		}
		fn.Revision, fn.Modified = uuid.NewString(), f.now()
		changed(fn)
		return nil
	})
}

// remove deletes the function and ends what waits for it.
func (f *Functions) remove(ctx context.Context, r Ref) error {
	return f.db.Update(ctx, func(tx *store.Tx) error {
		fn, err := f.findIn(ctx, tx, r)
		if err != nil {
			return err
		}
		if err := f.endInvocations(ctx, tx, fn); err != nil {
			return err
		}
		tx.OnCommit(func() { f.o.Runtime.Forget(fn.ARN()) })
		return deleteFunction(ctx, tx, fn)
	})
}

// checkRevision returns AWS's error of a RevisionId that is not the function's; api is where the
// request is to look for it.
func (fn *Function) checkRevision(given *string, api string) error {
	if text(given) == "" || *given == fn.Revision {
		return nil
	}
	return errRevision(api)
}

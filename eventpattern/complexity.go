package eventpattern

const (
	tooManyWildcards = "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a wildcard character"
	// maxComplexity is the highest complexity that AWS accepts.
	maxComplexity = 10
)

func (p *Pattern) tooComplex() bool { return false }

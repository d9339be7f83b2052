//! Host tests of the parser.

//! Sources: pushed or pulled, probed, their timeline repaired, handed on as FLV.

"""The minor units of currencies, by ISO 4217."""

from __future__ import annotations

_NONE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_FOUR = "CLF UYW"
_DIGITS = {
    **dict.fromkeys(_NONE.split(), 0),
    **dict.fromkeys(_THREE.split(), 3),
    **dict.fromkeys(_FOUR.split(), 4),
}


def minor_digits(currency: str) -> int:
    """Decimal digits of a currency's minor unit: EUR 2, JPY 0, KWD 3.

    ISO 4217, list one, column "Minor unit" (SIX, maintenance agency of ISO 4217, as of 2026). Every currency that is
    not listed above has two.
    """
    return _DIGITS.get(currency, 2)


def major_text(minor: int, currency: str) -> str:
    """An amount of minor units as a decimal text in the major unit: 1234 EUR is ``12.34``, -5 KWD is ``-0.005``."""
    digits = minor_digits(currency)
    whole, part = divmod(abs(minor), 10**digits)
    text = f"{whole}.{part:0{digits}d}" if digits else str(whole)
    return f"-{text}" if minor < 0 else text

"""One row of the CSV file: from text to the values of a Sale, or why not."""

import re
from datetime import date
from decimal import Decimal, InvalidOperation

COLUMNS = ["order_number", "sold_on", "product", "quantity", "unit_price"]

ORDER_NUMBER = re.compile(r"[A-Z0-9-]{1,20}")
LONGEST_PRODUCT = 100
MOST_PIECES = 100_000
HIGHEST_PRICE = Decimal("99999999.99")


class RowError(ValueError):
    """The row cannot be a sale; the message says why."""


def parse(row):
    if None in row or None in row.values():
        raise RowError(f"the row does not have {len(COLUMNS)} cells")
    return {
        "order_number": parse_order_number(row["order_number"]),
        "sold_on": parse_date(row["sold_on"]),
        "product": parse_product(row["product"]),
        "quantity": parse_quantity(row["quantity"]),
        "unit_price": parse_price(row["unit_price"]),
    }


def parse_order_number(text):
    # One spelling only: databases differ on whether "a1" and "A1" are the same.
    number = text.strip().upper()
    if not ORDER_NUMBER.fullmatch(number):
        raise RowError("order_number is not 1 to 20 letters, digits and hyphens")
    return number


def parse_product(text):
    product = text.strip()
    if not 1 <= len(product) <= LONGEST_PRODUCT:
        raise RowError(f"product does not have 1 to {LONGEST_PRODUCT} characters")
    return product


def parse_date(text):
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RowError("sold_on is not a date like 2025-12-31") from None


def parse_quantity(text):
    try:
        quantity = int(text)
    except ValueError:
        raise RowError("quantity is not a whole number") from None
    if not 1 <= quantity <= MOST_PIECES:
        raise RowError(f"quantity is not between 1 and {MOST_PIECES}")
    return quantity


def parse_price(text):
    try:
        price = Decimal(text)
    except InvalidOperation:
        raise RowError("unit_price is not a number") from None
    # Decimal also reads "NaN" and "Infinity".
    if not price.is_finite() or not 0 <= price <= HIGHEST_PRICE:
        raise RowError(f"unit_price is not between 0 and {HIGHEST_PRICE}")
    return price.quantize(Decimal("0.01"))

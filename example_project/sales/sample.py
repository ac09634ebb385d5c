"""A CSV file to try the import with; about one row in two hundred is wrong."""

import csv
from datetime import date, timedelta
from io import StringIO
from random import Random

from sales.rows import COLUMNS

FIRST_DAY = date(2024, 1, 1)
DAYS = 731
PRODUCTS = {
    "Tea pot": 24.5,
    "Bread knife": 31.0,
    "Wool blanket": 89.9,
    "Desk lamp": 54.0,
    "Garden chair": 119.0,
    "Notebook": 6.5,
}
MISTAKES = (
    {"sold_on": "2025-02-30"},
    {"product": ""},
    {"quantity": "-3"},
    {"quantity": "many"},
    {"unit_price": "free"},
    {"order_number": "A000001"},
)


def sample_csv(rows, seed=1):
    random = Random(seed)  # noqa: S311 (the same file every time, nothing secret)
    text = StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for number in range(1, rows + 1):
        row = sample_row(random, number)
        if random.random() < 1 / 200:
            row |= random.choice(MISTAKES)
        writer.writerow(row)
    return text.getvalue()


def sample_row(random, number):
    product, price = random.choice(list(PRODUCTS.items()))
    return {
        "order_number": f"A{number:06}",
        "sold_on": FIRST_DAY + timedelta(days=random.randrange(DAYS)),
        "product": product,
        "quantity": random.choices(range(1, 7), weights=(40, 25, 15, 10, 6, 4))[0],
        "unit_price": f"{price * random.uniform(0.9, 1.1):.2f}",
    }

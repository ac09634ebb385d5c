from newsletter.models import Subscriber

NAMES = """
    Ada Baker, Alan Carter, Barbara Dyer, Claude Fisher, Dennis Glover, Donald Hunter,
    Edsger Joiner, Emmy Knight, Frances Logan, Grace Mason, Hedy Naylor, Ida Palmer,
    Jean Quiller, John Reeve, Karen Sawyer, Katherine Thatcher, Ken Usher, Leslie Vance,
    Linus Walker, Margaret Xavier, Mary Yeoman, Niklaus Zeller, Radia Archer, Sophie Bell
"""


def load_subscribers():
    """Two dozen people to write to, unless there is somebody already."""
    if Subscriber.objects.exists():
        return
    Subscriber.objects.bulk_create(
        Subscriber(name=name, email=address(name))
        for name in (entry.strip() for entry in NAMES.split(","))
    )


def address(name):
    return f"{name.lower().replace(' ', '.')}@example.com"

"""Models of tables that exist already, after Django's "Integrating Django with a legacy database" (`managed = False`)
and "Making queries".
"""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.utils import timezone


class User(models.Model):
    id = models.BigAutoField(primary_key=True)
    email = models.CharField(max_length=254, null=True)
    username = models.CharField(max_length=50)
    full_name = models.CharField(max_length=100, null=True)
    is_active = models.BooleanField()
    balance = models.BigIntegerField()
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "users"


class Credentials(models.Model):
    user = models.OneToOneField(User, models.CASCADE, primary_key=True)
    hashed_password = models.CharField(max_length=255)

    class Meta:
        managed = False
        db_table = "credentials"


class Tag(models.Model):
    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=100)

    class Meta:
        managed = False
        db_table = "tags"
        ordering = ("id",)


class PostQuerySet(models.QuerySet["Post"]):
    def public(self) -> PostQuerySet:
        return self.filter(status="published", published_at__lte=timezone.now(), deleted_at=None)

    def nested(self) -> PostQuerySet:
        return self.select_related("author").prefetch_related("tags")


class Post(models.Model):
    id = models.BigAutoField(primary_key=True)
    author = models.ForeignKey(User, models.RESTRICT, db_column="user_id")
    title = models.CharField(max_length=200)
    slug = models.CharField(max_length=200)
    content = models.TextField()
    status = models.CharField(max_length=16)
    published_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)
    version = models.IntegerField(default=1)
    tags = models.ManyToManyField(Tag, db_table="post_tags")

    objects = PostQuerySet.as_manager()

    class Meta:
        managed = False
        db_table = "posts"


class Transfer(models.Model):
    id = models.BigAutoField(primary_key=True)
    from_user = models.ForeignKey(User, models.RESTRICT, related_name="sent")
    to_user = models.ForeignKey(User, models.RESTRICT, related_name="received")
    amount = models.BigIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "transfers"


def published(title: str, slug: str, content: str, author: User, at: datetime) -> Post:
    """Made and written; its tags are still to be added."""
    times = {"published_at": at, "created_at": at, "updated_at": at}
    return Post.objects.create(title=title, slug=slug, content=content, author=author, status="published", **times)

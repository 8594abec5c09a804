/* Needs a function from an object that grasp-cc has not compiled. */
int foreign(int x);
int foreign_user(int x);

int foreign_user(int x)
{
    return foreign(x);
}
